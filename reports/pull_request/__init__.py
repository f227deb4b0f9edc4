"""What a pull request is told: the verdict, what it could have found, and what changed."""
