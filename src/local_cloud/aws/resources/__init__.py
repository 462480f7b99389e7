"""CloudFormation resources that moto lacks, one small class each."""
