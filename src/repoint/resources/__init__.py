"""The API's resources, one module or package each, named as in the URL."""
