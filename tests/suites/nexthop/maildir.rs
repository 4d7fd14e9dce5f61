//! Claims about the Maildir.
