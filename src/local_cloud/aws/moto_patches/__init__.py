"""Every change to moto's own behaviour, each with its reason. moto is extended, not forked.

Checked against moto 5.2.5.
"""

from local_cloud.aws.moto_patches import databases, functions, queues, server, stacks, tables, topics


def install(start_poller: functions.StartPoller) -> None:
    """Apply all patches to this process; `start_poller` gets the poller of each event source mapping."""
    server.forget_instances()
    server.compute_once()
    queues.index_queues()
    queues.inject_queue_faults()
    queues.refuse_what_sqs_refuses()
    queues.move_messages()
    tables.lock_tables()
    functions.run_functions()
    functions.refuse_what_lambda_refuses()
    functions.poll_queues(start_poller)
    functions.keep_conditions_of_urls()
    functions.tell_account_settings()
    topics.let_mail_subscriptions_wait()
    topics.refuse_what_sns_refuses()
    databases.put_databases_on_loopback()
    databases.change_passwords()
    stacks.create_all_resources()
    stacks.change_stacks_like_aws()
