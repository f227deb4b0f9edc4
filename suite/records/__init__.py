"""The records of a measurement, the file they are in, and the header that says who measured."""
