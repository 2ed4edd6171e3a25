"""Images in and out of files, and how training draws from them."""
