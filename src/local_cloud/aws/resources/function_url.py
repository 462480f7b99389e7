"""AWS::Lambda::Url."""

from typing import ClassVar, Self

from moto.awslambda.models import lambda_backends

from local_cloud.aws.function_urls import url_of
from local_cloud.aws.resources.base import Resource, Wanted


class FunctionUrl(Resource):
    """The URL of a function; see function_urls."""

    type_name = "AWS::Lambda::Url"
    attributes: ClassVar = {
        "FunctionArn": lambda url: url.physical_resource_id,
        "FunctionUrl": lambda url: url_of(url.function_name),
    }

    @property
    def function_name(self) -> str:
        """The name of its function."""
        return self.physical_resource_id.rpartition(":")[2]

    @classmethod
    def create(cls, wanted: Wanted) -> Self:
        """Give the function a URL. Raises moto's error if there is no such function."""
        function = wanted.backend(lambda_backends).get_function(wanted.properties["TargetFunctionArn"])
        function.create_url_config(wanted.properties).url = url_of(function.function_name)
        return cls(wanted, function.function_arn)

    def update(self, wanted: Wanted) -> Resource:
        """Put the new one in place of the old."""
        self.remove()
        return self.create(wanted)

    def remove(self) -> None:
        """Take the URL off the function, if that is still there."""
        functions = self.wanted.backend(lambda_backends).list_functions()
        for function in functions:
            if function.function_name == self.function_name:
                function.delete_url_config()
