// The signing page: shows one task from its bytes, computes what is signed itself, and asks the passkey.
//
// It believes nobody who serves the task: (1) payloads are parsed from the bytes that are signed, and have one canonical text;
// (2) an authorization's request is shown only when its SHA-256, computed here, is the one that the authorization names;
// (3) the challenge is computed here (docs/formats/key-signatures.md); (4) text becomes text nodes and never markup.
"use strict";

const DOMAIN = "keyturn/webauthn/v1";
const TYPES = { record: "application/vnd.in-toto+json", enrolment: "application/vnd.keyturn.invitation+json" };
const AUTHORIZATION = "https://keyturn.dev/human-authorization/v1";
const REQUEST = "https://keyturn.dev/access-request/v1";
const HERE = /^http:\/\/127\.0\.0\.1:[1-9][0-9]{0,4}\/[A-Za-z0-9_-]{16,64}\/$/;
const TIMES = /(^|\.)(\w+_at|start_by|not_before|not_after|until)$/;

class No extends Error {}

const at = (id) => document.getElementById(id);
const utf8 = (text) => new TextEncoder().encode(text);
let over = false;
let making = false; // a passkey is made, and nothing is signed yet
let reply = ""; // where the answer goes: beside the page, or a port of this machine when another operator serves the page

function decode(text) {
  const raw = atob(text);
  return Uint8Array.from(raw, (character) => character.charCodeAt(0));
}

function encode(buffer) {
  let raw = "";
  for (const byte of new Uint8Array(buffer)) raw += String.fromCharCode(byte);
  return btoa(raw);
}

function join(...parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let end = 0;
  for (const part of parts) {
    whole.set(part, end);
    end += part.length;
  }
  return whole;
}

const sha256 = async (bytes) => new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

// RFC 8785 for what our records hold: objects, arrays, text, integers, booleans and null.
function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value !== null && typeof value === "object") {
    return `{${Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join(",")}}`;
  }
  if (typeof value === "number" && !Number.isSafeInteger(value)) throw new No("a number in it is no integer");
  return JSON.stringify(value);
}

// (1) A payload that has another text than its canonical one could read differently elsewhere.
function parse(bytes, what) {
  let text, value;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    value = JSON.parse(text);
  } catch {
    throw new No(`the ${what} is not JSON`);
  }
  if (value === null || typeof value !== "object" || canonical(value) !== text) {
    throw new No(`the ${what} is not canonical JSON`);
  }
  return value;
}

// What a reader cannot see, or what would turn the reading direction round, is spelled out; and so are combining marks that stand on
// nothing, and on one character from the fifth on: a tower of them covers what is written above and below.
const MARKS_MAX = 4;
const spelled = (one) => `\\u{${one.codePointAt(0).toString(16)}}`;

function visible(text) {
  return text
    .replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu, spelled)
    .replace(/(\P{M}?)(\p{M}+)/gu, (whole, base, marks) => {
      const kept = base ? MARKS_MAX : 0;
      return base + Array.from(marks, (mark, number) => (number < kept ? mark : spelled(mark))).join("");
    });
}

function said(path, value) {
  if (typeof value === "number" && TIMES.test(path) && value < 253402300800) {
    return `${new Date(value * 1000).toISOString().replace(".000Z", "Z")} (${value})`;
  }
  return typeof value === "string" ? visible(value) : canonical(value);
}

function* fields(value, path) {
  const nested = value !== null && typeof value === "object" && Object.keys(value).length > 0;
  if (!nested) {
    yield [path, said(path, value)];
    return;
  }
  for (const [key, inner] of Object.entries(value)) {
    yield* fields(inner, path ? `${path}.${visible(key)}` : visible(key));
  }
}

function show(heading, value, digest) {
  const title = document.createElement("h2");
  title.textContent = heading;
  const table = document.createElement("table");
  for (const [name, text] of [...fields(value, ""), ["SHA-256 of these bytes", digest]]) {
    const row = table.insertRow();
    const head = document.createElement("th");
    head.textContent = name;
    row.append(head);
    row.insertCell().textContent = text;
  }
  at("shown").append(title, table);
}

// (3) DSSE's pre-authentication encoding, and the challenge over it.
async function challengeOf(purpose, payload) {
  const type = TYPES[purpose];
  const pae = join(utf8(`DSSEv1 ${type.length} ${type} ${payload.length} `), payload);
  return sha256(join(utf8(`${DOMAIN}\0${purpose}\0`), pae));
}

async function prepare(task) {
  if (!Object.hasOwn(TYPES, task.purpose)) throw new No("it is for no purpose that this page knows");
  const payload = decode(task.payload);
  const digest = hex(await sha256(payload));
  if (task.purpose === "enrolment") {
    const invitation = parse(payload, "invitation");
    making = true;
    at("sign").textContent = "Make my passkey";
    at("decline").textContent = "Do not make one";
    at("title").textContent = `Make a passkey for ${visible(String(invitation.member))} of ${visible(String(invitation.lab))}`;
    show("The invitation that you accept", invitation, digest);
    return { payload, invitation };
  }
  const statement = parse(payload, "statement");
  const predicate = statement.predicate ?? {};
  if (statement.predicateType !== AUTHORIZATION) {
    at("title").textContent = `Sign: ${visible(String(statement.predicateType))}`;
    show("The statement that you sign", statement, digest);
    return { payload };
  }
  at("title").textContent = `${visible(String(predicate.decision))} a request as ${visible(String(predicate.approver))}`;
  if (typeof task.request !== "string") throw new No("the request that it is about is missing");
  const bytes = decode(task.request);
  const found = hex(await sha256(bytes));
  if (found !== predicate.request) {
    throw new No(`the request here is ${found}, and the authorization is about another one`); // (2)
  }
  const request = parse(bytes, "request");
  if (request.predicateType !== REQUEST) throw new No("what it is about is no access request");
  show("The request", request, found);
  show("The authorization that you sign", statement, digest);
  return { payload };
}

async function make(task, ready, challenge) {
  const name = String(ready.invitation.member);
  const made = await navigator.credentials.create({
    publicKey: {
      challenge,
      rp: { id: task.rp_id, name: `Keyturn, ${ready.invitation.lab}` },
      user: { id: crypto.getRandomValues(new Uint8Array(32)), name, displayName: name },
      pubKeyCredParams: [-7, -8].map((alg) => ({ type: "public-key", alg })),
      authenticatorSelection: { residentKey: "preferred", userVerification: "required" },
      attestation: "direct",
    },
  });
  return { attestation_object: encode(made.response.attestationObject), client_data: encode(made.response.clientDataJSON) };
}

async function use(task, challenge) {
  const used = await navigator.credentials.get({
    publicKey: {
      challenge,
      rpId: task.rp_id,
      allowCredentials: [{ type: "public-key", id: decode(task.credential) }],
      userVerification: "required",
    },
  });
  return {
    authenticatorData: encode(used.response.authenticatorData),
    clientDataJSON: encode(used.response.clientDataJSON),
    signature: encode(used.response.signature),
  };
}

// What there is to sign: beside the page, or in the fragment, which no server saw.
async function given() {
  if (window.top !== window) throw new No("this page is inside another one");
  if (location.hash.length < 2) {
    const answer = await fetch("task");
    if (!answer.ok) throw new No("keyturn gave nothing to sign");
    return answer.json();
  }
  const bytes = decode(location.hash.slice(1).replaceAll("-", "+").replaceAll("_", "/"));
  history.replaceState(null, "", location.pathname);
  const found = parse(bytes, "task");
  if (!HERE.test(found.reply)) throw new No("its answer would not go to this machine");
  reply = found.reply;
  return found.task;
}

async function post(name, body) {
  if (reply) {
    const form = document.createElement("form");
    const field = document.createElement("input");
    Object.assign(form, { method: "POST", action: reply + name, hidden: true });
    Object.assign(field, { name: "body", value: body });
    form.append(field);
    document.body.append(form);
    form.submit();
    return;
  }
  const answer = await fetch(name, { method: "POST", body, headers: { "Content-Type": "application/json" } });
  if (!answer.ok) throw new Error(`keyturn did not take it: ${answer.status}`);
}

function say(text, kind) {
  at("status").textContent = text;
  at("status").className = kind;
}

function end(text, kind) {
  over = true;
  at("buttons").hidden = true;
  say(text, kind);
}

async function sign(task, ready) {
  at("sign").disabled = true;
  try {
    const challenge = await challengeOf(task.purpose, ready.payload);
    const answer = task.purpose === "enrolment" ? await make(task, ready, challenge) : await use(task, challenge);
    over = true;
    await post("answer", canonical(answer));
    if (!reply) end("Done. You may close this page.", "yes"); // else keyturn says so, at the address that the form went to
  } catch (error) {
    over = false;
    say(`${making ? "Not made" : "Not signed"}: ${visible(String(error.name))}: ${visible(String(error.message))}`, "no");
    at("sign").disabled = false;
  }
}

async function main() {
  try {
    const task = await given();
    const ready = await prepare(task);
    at("sign").addEventListener("click", () => sign(task, ready));
    at("decline").addEventListener("click", async () => {
      over = true;
      await post("decline", "");
      if (!reply) end(making ? "No passkey was made, as you said. You may close this page." : "Not signed, as you said. You may close this page.", "no");
    });
    window.addEventListener("pagehide", () => over || navigator.sendBeacon(`${reply}closed`));
    say(making ? "Read all of it. Then make your passkey for it, or don't." : "Read all of it. Then sign it, or don't.", "");
    at("buttons").hidden = false;
  } catch (error) {
    at("shown").replaceChildren();
    end(`Refused: ${visible(String(error.message))}`, "no");
    await fetch(`${reply}refuse`, { method: "POST", mode: reply ? "no-cors" : "same-origin" });
  }
}

main();
