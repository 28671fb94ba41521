"""What stands behind the ARNs and s3:// URLs that Pinpoint's API names its neighbours by."""
