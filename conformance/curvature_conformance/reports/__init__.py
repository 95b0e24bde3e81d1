"""What a run has shown, and where and with what it was made: as JSON, Markdown and HTML."""
