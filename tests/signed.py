"""Requests that no client would make, correctly signed."""

import json
import urllib.error
import urllib.request

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials


def send_raw(server, method, path, body):
    """A signed request as it is; the status, the error class and the decoded answer."""
    request = AWSRequest(method, server.url + path, data=body, headers={"content-type": "application/json"})
    credentials = Credentials(server.access_key_id, server.secret_access_key)
    SigV4Auth(credentials, "mobiletargeting", "us-east-1").add_auth(request)
    plain = urllib.request.Request(request.url, data=body, headers=dict(request.headers), method=method)
    try:
        with urllib.request.urlopen(plain, timeout=30) as response:
            return response.status, "", json.loads(response.read() or b"null")
    except urllib.error.HTTPError as error:
        return error.code, error.headers["x-amzn-errortype"], json.loads(error.read())
