"""The text that models learn and are tested on: its files, its vocabulary, its windows."""
