// Uploads in pieces that resume, and progress. Names of files stay here: the server knows a file by its place.
const byId = (id) => document.getElementById(id);
const pause = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));
const PATIENCE = 6, TOGETHER = 1000, CHECKED = 65536;

class Refused extends Error {
  constructor(response, sentence) { super(sentence); this.status = response.status; this.headers = response.headers; }
}

async function ask(method, path, body) {
  const raw = body instanceof Blob;
  const type = raw ? "application/octet-stream" : "application/json";
  const response = await fetch(path, { method, headers: body === undefined ? {} : { "Content-Type": type }, body: raw ? body : body && JSON.stringify(body) });
  if (response.status === 204) return null;
  const said = await response.json();
  if (!response.ok) throw new Refused(response, said.detail);
  return said;
}

async function patiently(work) {
  for (let tried = 1; ; tried++) {
    try { return await work(); } catch (error) {
      const passing = !(error instanceof Refused) || error.status === 408 || error.status >= 502;
      if (!passing || tried === PATIENCE) throw error;
      say(`The connection was lost; resuming in ${2 ** tried / 2} s`);
      await pause(2 ** tried / 2);
    }
  }
}

const say = (words) => { byId("said").textContent = words; };
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
const plural = (number) => `${number} file${number === 1 ? "" : "s"}`;
const sentence = (words) => `${words[0].toUpperCase()}${words.slice(1)}.`;

async function sendFile(job, place, file, piece, offset, tell) {
  const part = file.slice(0, Math.min(offset, CHECKED));
  if (part.size) await patiently(() => ask("PUT", `/api/jobs/${job}/files/${place}?offset=0`, part)); // the same file?
  while (offset < file.size) {
    try {
      const there = await patiently(() => ask("PUT", `/api/jobs/${job}/files/${place}?offset=${offset}`, file.slice(offset, offset + piece)));
      offset = there.offset;
    } catch (error) {
      const right = error instanceof Refused && error.status === 409 && error.headers.get("Upload-Offset");
      if (!right || Number(right) === offset) throw error;
      offset = Number(right);
    }
    tell(offset);
  }
}

async function start(job) {
  for (;;) {
    try { return await patiently(() => ask("POST", `/api/jobs/${job}/start`)); } catch (error) {
      if (error.status !== 429) throw error;
      const seconds = Number(error.headers.get("Retry-After") ?? 30);
      say(`The queue is full. The upload is complete; trying again in ${seconds} s`);
      await pause(seconds);
    }
  }
}

async function send(entries, limits, begun) {
  entries.sort((one, other) => (one.path < other.path ? -1 : one.path > other.path ? 1 : 0));
  const all = entries.reduce((sum, entry) => sum + entry.file.size, 0);
  if (entries.length > limits.files || all > limits.bytes) {
    throw new Error(`a study may have ${limits.files} files of ${megabytes(limits.bytes)} in all; this one has ${plural(entries.length)} of ${megabytes(all)}`);
  }
  const sizes = entries.map((entry) => entry.file.size);
  const known = begun ? (await ask("GET", `/api/jobs/${begun}`)).files : [];
  if (known.length > sizes.length || known.some((one, at) => one.size !== sizes[at])) {
    throw new Error("these are not the files that were begun: their number or sizes differ; choose the same ones again");
  }
  const id = begun ?? (await ask("POST", "/api/jobs")).id;
  sending = id;
  for (let at = known.length; at < sizes.length; at += TOGETHER) await ask("POST", `/api/jobs/${id}/files`, { sizes: sizes.slice(at, at + TOGETHER) });
  let before = 0;
  for (const [number, { file }] of entries.entries()) {
    await sendFile(id, number + 1, file, limits.piece, known[number]?.offset ?? 0, (offset) => {
      byId("bar").value = all ? (before + offset) / all : 1;
      say(`Sending file ${number + 1} of ${entries.length}: ${megabytes(before + offset)} of ${megabytes(all)}`);
    });
    before += file.size;
  }
  say("Uploaded; starting");
  await start(id);
  sending = null;
  location.assign(`/jobs/${id}`);
}

async function dropped(items) {
  const found = [];
  const walk = async (entry) => {
    if (entry.isFile) return found.push({ path: entry.fullPath, file: await new Promise((done, failed) => entry.file(done, failed)) });
    const reader = entry.createReader();
    for (;;) {
      const part = await new Promise((done, failed) => reader.readEntries(done, failed));
      if (!part.length) return undefined;
      for (const one of part) await walk(one);
    }
  };
  for (const entry of [...items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean)) await walk(entry);
  return found;
}

let sending = null, busy = false;
const drop = byId("drop");
if (drop) {
  const limits = { files: Number(drop.dataset.files), bytes: Number(drop.dataset.bytes), piece: Number(drop.dataset.piece) };
  const begin = async (choose) => {
    if (busy) return;
    busy = true;
    byId("problem").hidden = true;
    try {
      const entries = await choose();
      if (!entries.length) return;
      byId("sending").hidden = false;
      byId("cancel").focus();
      await send(entries, limits, drop.dataset.job);
    } catch (error) {
      byId("problem").textContent = sentence(error.message);
      byId("problem").hidden = false;
      byId("sending").hidden = true;
      if (sending && !drop.dataset.job) await ask("DELETE", `/api/jobs/${sending}`).catch(() => null);
      sending = null;
    } finally { busy = false; }
  };
  for (const id of ["files", "folder"]) {
    drop.querySelector(`[data-opens=${id}]`).addEventListener("click", () => byId(id).click());
    byId(id).addEventListener("change", (event) => begin(() => [...event.target.files].map((file) => ({ path: file.webkitRelativePath || file.name, file }))));
  }
  for (const kind of ["dragover", "dragleave", "drop"]) {
    drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.toggle("over", kind === "dragover"); });
  }
  drop.addEventListener("drop", (event) => { const items = event.dataTransfer.items; const ready = dropped(items); begin(() => ready); });
  byId("cancel").addEventListener("click", async () => {
    if (sending) await ask("DELETE", `/api/jobs/${sending}`).catch(() => null);
    location.assign("/");
  });
}

const work = byId("work");
const words = (job) => {
  if (job.state === "waiting") return job.before ? `Waiting: ${job.before} ahead of it` : "Waiting: it is next";
  if (!job.step?.total) return "Starting";
  return `${job.step.doing[0].toUpperCase()}${job.step.doing.slice(1)}: ${job.step.done} of ${job.step.total}`;
};
async function watch(id) {
  for (;;) {
    await pause(1);
    try {
      const job = await ask("GET", `/api/jobs/${id}`);
      if (job.state !== "waiting" && job.state !== "running") return location.reload();
      if (byId("told").textContent !== words(job)) byId("told").textContent = words(job);
      if (job.step?.total) { byId("bar").max = job.step.total; byId("bar").value = job.step.done; }
    } catch (error) {
      if (error instanceof Refused) return location.reload();
      byId("told").textContent = "The server does not answer; it may have been stopped. Trying again";
      await pause(4);
    }
  }
}
if (work) watch(work.dataset.job);
