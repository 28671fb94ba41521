"""What other mail systems report back: bounces and complaints by SMTP, and Amazon SES's notifications over SNS."""
