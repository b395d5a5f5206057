"""Building a mail and handing it to an SMTP server. The only room that knows smtplib."""
