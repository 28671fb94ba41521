"""AWS Amplify's analytics for JavaScript, unmodified: its endpoint, its events, its session arrive as it sends them.

Amplify has AWS's address built in, so the requests it has signed for that are led here. Node.js has no beacons: what a
page hands the browser is sent as a browser sends it.
"""

import json
import subprocess

from tests.clients.npm import installed
from tests.events.conftest import logged  # noqa: F401 - a fixture

SCRIPT = """
import http from "node:http";
const sent = [], server = process.env.AWS_ENDPOINT_URL_PINPOINT;
globalThis.fetch = (url, init) => new Promise((resolve, reject) => {
  const { host, pathname, search } = new URL(url);
  const asking = http.request(server + pathname + search, { method: init.method, headers: { ...init.headers, host } });
  asking.on("error", reject).on("response", async (answer) => {
    const text = Buffer.concat(await answer.toArray()).toString();
    sent.push([answer.statusCode, JSON.parse(init.body), JSON.parse(text)]);
    resolve(new Response(text, { status: answer.statusCode, headers: { "content-type": "application/json" } }));
  });
  asking.end(init.body);
});
const { record, updateEndpoint } = await import("@aws-amplify/core/internals/providers/pinpoint");
const common = { appId: process.argv[2], category: "Analytics", region: "us-east-1", identityId: "us-east-1:nora",
  userAgentValue: "aws-amplify/6", credentials: { accessKeyId: process.env.AWS_ACCESS_KEY_ID,
  secretAccessKey: process.env.AWS_SECRET_ACCESS_KEY }, flushInterval: 20 };
await updateEndpoint({ ...common, userProfile: { email: "nora@example.com", plan: "gold", metrics: { age: 30 },
  customProperties: { hobbies: ["chess"] }, demographic: { locale: "de_AT" }, location: { city: "Graz" } } });
for (const event of [{ name: "_session.start" }, { name: "album.visit", attributes: { genre: "", artist: "Zoë" },
  metrics: { minutes: 2.5 } }, { name: "album.leave", attributes: {}, metrics: {} }, { name: "_session.stop" }])
  await record({ ...common, event });
const answered = () => sent.flatMap(([, , answer]) => Object.values(answer.Results ?? {}))
  .flatMap((result) => Object.keys(result.EventsItemResponse)).length;
for (let looked = 0; answered() < 4 && looked < 500; looked++) await new Promise((go) => setTimeout(go, 20));
console.log(JSON.stringify(sent));
process.exit(0);
"""
LEAVING = """
import http from "node:http";
const sent = new Promise((resolve, reject) => {
  const sendBeacon = (url, body) => {
    const { host, pathname, search } = new URL(url), headers = { host, "content-type": "text/plain;charset=UTF-8" };
    const to = process.env.AWS_ENDPOINT_URL_PINPOINT + pathname + search;
    http.request(to, { method: "POST", headers }).on("error", reject).on("response", async (answer) => {
      const text = Buffer.concat(await answer.toArray()).toString();
      resolve([answer.statusCode, url, JSON.parse(body), JSON.parse(text)]);
    }).end(body);
    return true;
  };
  Object.defineProperty(globalThis, "navigator", { value: { userAgent: "", sendBeacon } });
});
const { Credentials } = (await import("@aws-amplify/core")).default;
const { AWSPinpointProvider } = (await import("@aws-amplify/analytics")).default;
Credentials.get = async () => ({ accessKeyId: process.env.AWS_ACCESS_KEY_ID, identityId: "us-east-1:nora",
  secretAccessKey: process.env.AWS_SECRET_ACCESS_KEY, sessionToken: "a+b/c==" });
const provider = new AWSPinpointProvider({ appId: process.argv[2], endpointId: "Page-1", region: "us-east-1" });
provider.configure({});
const told = await new Promise((resolve, reject) => provider.record({ event: { name: "_session.stop",
  attributes: { page: "Zoë" }, immediate: true } }, { resolve, reject }));
console.log(JSON.stringify([told, ...(await sent)]));
process.exit(0);
"""


def run(folder, script, server, app_id):
    """What a script of Amplify's prints."""
    (folder / "report.mjs").write_text(script)
    command = ["node", "report.mjs", app_id]
    done = subprocess.run(command, cwd=folder, env=server.environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_page_that_is_left_reports_its_sessions_end(server, app_id, logged):  # noqa: F811 - the fixture
    folder = installed("amplify-beacon", "@aws-amplify/analytics", "6.5")
    told, status, url, sent, answer = run(folder, LEAVING, server, app_id)
    [record] = logged()
    [event_id] = sent["BatchItem"]["Page-1"]["Events"]

    assert (told, status) == ("sendBeacon success", 202)
    assert f"/v1/apps/{app_id}/events/legacy?" in url
    assert answer["Results"]["Page-1"]["EventsItemResponse"][event_id]["StatusCode"] == 202
    assert (record["event_type"], record["client"]["client_id"]) == ("_session.stop", "Page-1")
    assert record["attributes"] == {"page": "Zoë"}
    assert record["session"]["stop_timestamp"] >= record["session"]["start_timestamp"]


def test_what_amplify_sends_is_taken(server, app_id, logged):  # noqa: F811 - the fixture
    answers = run(installed("amplify", "@aws-amplify/core", "6"), SCRIPT, server, app_id)
    records = logged()

    assert {status for status, _, _ in answers} == {202}
    results = [result for _, _, answer in answers for result in answer.get("Results", {}).values()]
    assert {event["StatusCode"] for result in results for event in result["EventsItemResponse"].values()} == {202}
    assert [record["event_type"] for record in records] == [
        "_session.start",
        "album.visit",
        "album.leave",
        "_session.stop",
    ]
    assert (records[1]["attributes"], records[1]["metrics"]) == ({"genre": "", "artist": "Zoë"}, {"minutes": 2.5})
    assert len({record["session"]["session_id"] for record in records}) == 1
    assert "stop_timestamp" in records[3]["session"]
    [endpoint] = {record["client"]["client_id"] for record in records}
    stored = server.client().get_endpoint(ApplicationId=app_id, EndpointId=endpoint)["EndpointResponse"]
    assert stored["Attributes"] == {"email": ["nora@example.com"], "plan": ["gold"], "hobbies": ["chess"]}
    assert (stored["User"]["UserId"], stored["Demographic"]["Locale"]) == ("us-east-1:nora", "de_AT")
    assert (stored["Location"]["City"], stored["Metrics"]) == ("Graz", {"age": 30.0})
