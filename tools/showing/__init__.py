"""The demo: which workflows run on the embedded models alone, what they made, and the page that shows it."""
