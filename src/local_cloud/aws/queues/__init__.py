"""Queues: SQS with the order, the locks and the redrive that moto lacks."""
