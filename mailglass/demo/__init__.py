"""The demo: real mailables, a real SMTP server on loopback, and the story that ``mailglass demo`` tells."""
