"""The commands that judge a change: two runs compared, two versions in pairs, one with itself."""
