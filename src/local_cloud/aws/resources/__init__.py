"""CloudFormation resources that moto lacks, each a small class of its own kind."""
