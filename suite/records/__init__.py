"""What a measurement leaves: records, the file that holds them, and who measured."""
