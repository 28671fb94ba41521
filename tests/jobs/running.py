"""What tests of jobs share: files put into a bucket, jobs run to their end."""

import gzip
import json

from tests.conftest import eventually

ROLE = "arn:aws:iam::123456789012:role/jobs"


def put(server, key, content, *, bucket="tests"):
    """A file in a local bucket; its URL."""
    path = server.data_dir / "buckets" / bucket / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return f"s3://{bucket}/{key}"


def begin_import(client, app_id, url, file_format="CSV", **more):
    wanted = {"Format": file_format, "S3Url": url, "RoleArn": ROLE} | more
    return client.create_import_job(ApplicationId=app_id, ImportJobRequest=wanted)["ImportJobResponse"]


def finished(client, app_id, job_id, *, seconds=30):
    def ended():
        job = client.get_import_job(ApplicationId=app_id, JobId=job_id)["ImportJobResponse"]
        return job if "CompletionDate" in job else None

    return eventually(ended, seconds=seconds)


def run_import(client, app_id, url, file_format="CSV", *, seconds=30, **more):
    """An import, when it has ended."""
    return finished(client, app_id, begin_import(client, app_id, url, file_format, **more)["Id"], seconds=seconds)


def run_export(client, app_id, url="s3://tests/out/", **more):
    """An export, when it has ended."""
    wanted = {"S3UrlPrefix": url, "RoleArn": ROLE} | more
    job_id = client.create_export_job(ApplicationId=app_id, ExportJobRequest=wanted)["ExportJobResponse"]["Id"]
    return finished_export(client, app_id, job_id)


def finished_export(client, app_id, job_id, *, seconds=30):
    def ended():
        job = client.get_export_job(ApplicationId=app_id, JobId=job_id)["ExportJobResponse"]
        return job if "CompletionDate" in job else None

    return eventually(ended, seconds=seconds)


def exported(server, job, *, bucket="tests", folder="out"):
    """An export's endpoints, by their ids."""
    found = {}
    for path in sorted((server.data_dir / "buckets" / bucket / folder).glob(f"{job['Id']}_part-*.gz")):
        for line in gzip.decompress(path.read_bytes()).splitlines():
            one = json.loads(line)
            found[one["Id"]] = one
    return found


def endpoints(server, client, app_id):
    """All endpoints of an application, by their ids."""
    return exported(server, run_export(client, app_id))


def endpoint(client, app_id, endpoint_id):
    return client.get_endpoint(ApplicationId=app_id, EndpointId=endpoint_id)["EndpointResponse"]


def summary(job):
    """A job's end and its counters."""
    return job["JobStatus"], job["TotalProcessed"], job["TotalFailures"]
