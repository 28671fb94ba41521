"use strict";

const list = document.getElementById("messages");
const detail = document.getElementById("detail");
const query = document.getElementById("query");
const channel = document.getElementById("channel");
const more = document.getElementById("more");
const state = { messages: [], next: null, current: null, tab: null, narrow: false };

const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

const get = async (path) => {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
};

const ago = (text) => {
  const seconds = (Date.now() - new Date(text)) / 1000;
  if (seconds < 60) return "now";
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h`;
  return new Date(text).toLocaleDateString();
};

const load = async (after = "") => {
  const parameters = new URLSearchParams({ query: query.value, channel: channel.value, after, limit: 50 });
  const page = await get(`/inbox/api/messages?${parameters}`);
  state.messages = after ? [...state.messages, ...page.messages] : page.messages;
  state.next = page.next;
  drawList();
};

const drawList = () => {
  list.replaceChildren(...state.messages.map((message) => {
    const row = make("button", { type: "button", className: message.isRead ? "" : "unread" },
      make("span", { className: "tag", textContent: message.channelType.replaceAll("_", " ") }),
      make("span", { className: "who", textContent: message.recipient }),
      make("span", { className: "when", textContent: ago(message.receivedAt) }),
      make("span", { className: "what", textContent: message.subject || message.preview }));
    row.dataset.id = message.id;
    row.setAttribute("aria-current", String(message.id === state.current));
    row.addEventListener("click", () => open(message.id));
    return make("li", {}, row);
  }));
  more.hidden = !state.next;
  if (!state.messages.length && !query.value && !channel.value) drawEmpty();
};

const drawEmpty = () => {
  state.current = null;
  const empty = document.getElementById("empty").content.cloneNode(true);
  empty.querySelector("pre").textContent = [
    `export AWS_ENDPOINT_URL_PINPOINT=${location.origin}`, "", "import boto3", "client = boto3.client('pinpoint')",
    "app = client.create_app(CreateApplicationRequest={'Name': 'First'})",
    "client.send_messages(", "    ApplicationId=app['ApplicationResponse']['Id'],", "    MessageRequest={",
    "        'Addresses': {'+14255550142': {'ChannelType': 'SMS'}},",
    "        'MessageConfiguration': {'SMSMessage': {'Body': 'Hello!'}}})",
  ].join("\n");
  detail.replaceChildren(empty);
};

const open = async (id) => {
  state.current = id;
  const message = await get(`/inbox/api/messages/${id}`);
  const listed = state.messages.find((one) => one.id === id);
  if (listed) listed.isRead = true;
  drawList();
  list.querySelector(`[data-id="${id}"]`)?.scrollIntoView({ block: "nearest" });
  detail.replaceChildren(...(message.channelType === "EMAIL" ? email(message) : phone(message)));
};

const email = (message) => {
  const tabs = {
    HTML: message.html && (() => {
      const frame = make("iframe", { src: `/inbox/api/messages/${message.id}/html`, title: "The email as HTML" });
      frame.setAttribute("sandbox", "");
      frame.classList.toggle("narrow", state.narrow);
      return frame;
    }),
    Text: message.text && (() => make("pre", { className: "text", textContent: message.text })),
    Headers: () => make("table", {}, make("tbody", {}, ...message.headers.map(([name, value]) =>
      make("tr", {}, make("td", { textContent: name }), make("td", { textContent: value }))))),
    Source: () => {
      const source = make("pre", { className: "text", textContent: "…" });
      fetch(`/inbox/api/messages/${message.id}/source`).then((answer) => answer.text())
        .then((text) => { source.textContent = text; });
      return source;
    },
  };
  const names = Object.keys(tabs).filter((name) => tabs[name]);
  const bar = make("div", { className: "tabs" });
  bar.setAttribute("role", "tablist");
  const width = make("button", { type: "button", className: "width", textContent: state.narrow ? "Desktop width" : "Phone width" });
  let shown = null;
  const show = (name) => {
    state.tab = name;
    for (const tab of bar.querySelectorAll("[role=tab]")) tab.setAttribute("aria-selected", String(tab.textContent === name));
    width.hidden = name !== "HTML";
    const next = tabs[name]();
    shown ? shown.replaceWith(next) : detail.append(next);
    shown = next;
  };
  for (const name of names) {
    const tab = make("button", { type: "button", textContent: name });
    tab.setAttribute("role", "tab");
    tab.addEventListener("click", () => show(name));
    bar.append(tab);
  }
  width.addEventListener("click", () => {
    state.narrow = !state.narrow;
    width.textContent = state.narrow ? "Desktop width" : "Phone width";
    show("HTML");
  });
  bar.append(width);
  queueMicrotask(() => show(names.includes(state.tab) ? state.tab : names[0]));
  const attachments = message.attachments.length
    ? [make("p", { className: "facts", textContent: `Attached: ${message.attachments.map((one) => one.name).join(", ")}` })] : [];
  return [
    make("h2", { className: "subject", textContent: message.subject || "(no subject)" }),
    make("p", { className: "facts", textContent: `${message.sender} → ${message.recipient} · ${new Date(message.receivedAt).toLocaleString()}` }),
    ...attachments, bar,
  ];
};

const shown = (value) => (typeof value === "object" ? JSON.stringify(value, null, 2) : String(value));

const facts = (details) => {
  const rows = Object.entries(details).filter(([, value]) => value !== "");
  if (!rows.length) return [];
  return [
    make("h3", { textContent: "What the provider gets" }),
    make("table", { className: "details" }, make("tbody", {}, ...rows.map(([name, value]) =>
      make("tr", {}, make("td", { textContent: name }), make("td", {}, make("pre", { className: "text", textContent: shown(value) })))))),
  ];
};

const pretty = (raw) => {
  try { return JSON.stringify(JSON.parse(raw), null, 2); } catch { return raw; }
};

const sms = ({ body }) => [make("div", { className: "bubble", textContent: body })];

const call = ({ body, details }) => {
  const script = new DOMParser().parseFromString(body, "text/html").body.textContent.trim();
  const voice = [details.VoiceId, details.LanguageCode].filter(Boolean).join(", ");
  return [make("div", { className: "call" },
    make("p", { className: "ringing", textContent: "Incoming call" }),
    make("p", { className: "script", textContent: `“${script}”` }),
    make("p", { className: "from", textContent: voice ? `Spoken by ${voice}` : "Spoken by the default voice" }))];
};

// Nothing is fetched from elsewhere, so pictures stand here as their addresses.
const notification = ({ title, body, details }) => {
  if (details.RawContent) return [make("pre", { className: "notification text", textContent: pretty(details.RawContent) })];
  if (details.SilentPush) return [make("div", { className: "notification silent" }, make("em", { textContent: "Silent: the app is woken, and nothing is shown" }))];
  const picture = details.ImageUrl || details.MediaUrl;
  const action = { URL: `Opens ${details.Url || "a page"}`, DEEP_LINK: `Opens ${details.Url || "a place in the app"}` }[details.Action] || "Opens the app";
  return [make("div", { className: "notification" },
    make("strong", { textContent: title || "" }), make("span", { textContent: body }),
    ...(picture ? [make("div", { className: "picture", textContent: picture })] : []),
    make("div", { className: "action", textContent: action }))];
};

const phone = (message) => {
  const text = message.message;
  const from = text.origination || text.sender_id || message.channelType.replaceAll("_", " ");
  const kind = { SMS: sms, VOICE: call }[message.channelType] || notification;
  const details = message.channelType === "VOICE" && text.body.includes("<") ? { Script: text.body, ...text.details } : { ...text.details };
  if (message.channelType === "SMS") details.MessageType = text.message_type;
  if (details.RawContent) details.RawContent = pretty(details.RawContent);
  return [
    make("h2", { className: "subject", textContent: `${message.channelType.replaceAll("_", " ")} to ${message.recipient}` }),
    make("p", { className: "facts", textContent: `${new Date(message.receivedAt).toLocaleString()} · ${message.messageId}` }),
    make("div", { className: "beside" },
      make("div", { className: "phone" }, make("div", { className: "from", textContent: from }), ...kind(text)),
      make("div", { className: "provider" }, ...facts(details))),
  ];
};

const step = (by) => {
  if (!state.messages.length) return;
  const at = state.messages.findIndex((message) => message.id === state.current);
  const next = state.messages[Math.min(Math.max(at + by, 0), state.messages.length - 1)];
  open(next.id);
};

let timer = 0;
query.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(load, 150); });
channel.addEventListener("change", () => load());
more.addEventListener("click", () => load(state.next));
document.getElementById("clear").addEventListener("click", async () => {
  if (!confirm("Forget all messages in the inbox?")) return;
  await fetch("/inbox/api/messages", { method: "DELETE", headers: { "X-Requested-With": "inbox" } });
  await load();
});
document.addEventListener("keydown", (event) => {
  if (event.target.matches("input, select") || event.metaKey || event.ctrlKey || event.altKey) return;
  if (event.key === "/") { query.focus(); event.preventDefault(); }
  if (event.key === "j") step(1);
  if (event.key === "k") step(-1);
});
new EventSource("/inbox/api/stream").addEventListener("changed", () => { if (!state.next || state.messages.length <= 50) load(); });
load().then(() => {
  const wanted = Number(location.hash.slice(1));
  if (wanted) open(wanted);
});
