"""What a run leaves behind: its typed result, result.json, and the table on the screen."""
