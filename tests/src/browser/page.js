// A body of so many bytes, known by its seed. The page holds one cell of it.
window.bodyOf = (seed, size) => {
  const cell = 1024 * 1024;
  const same = new Uint8Array(cell - 4);
  let state = seed >>> 0;
  for (let i = 0; i < same.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    same[i] = state >>> 24;
  }
  const rest = new Blob([same]);
  const parts = [];
  for (let number = 0; number * cell < size; number++) {
    parts.push(new Uint32Array([number]), rest);
  }
  return new Blob(parts).slice(0, size);
};

// The same file each time, as one that a user chooses again.
window.fileOf = ({ seed, size, name }) =>
  new File([bodyOf(seed, size)], name, { type: 'application/x-test', lastModified: 1 });

// What a client is told and what it shows of it.
window.watch = {
  shown: 0,
  // The most that the service has acknowledged, by upload.
  acknowledged: {},
  // How often less was shown than before, and the most of it.
  falls: 0,
  deepest: 0,
  // The least that was shown after a fall, and how often it was nothing, or less than was acknowledged.
  lowest: null,
  zeros: 0,
  beneath: 0,
  // Requests without an answer, and answers by status.
  broken: 0,
  statuses: {},
};

window.show = (sent) => {
  const acknowledged = Object.values(watch.acknowledged).reduce((sum, offset) => sum + offset, 0);
  if (sent < watch.shown) {
    watch.falls += 1;
    watch.deepest = Math.max(watch.deepest, watch.shown - sent);
    watch.lowest = watch.lowest === null ? sent : Math.min(watch.lowest, sent);
    if (sent === 0) watch.zeros += 1;
  }
  if (sent < acknowledged) watch.beneath += 1;
  watch.shown = sent;
};

const send = XMLHttpRequest.prototype.send;
XMLHttpRequest.prototype.send = function (body) {
  this.addEventListener('load', () => {
    watch.statuses[this.status] = (watch.statuses[this.status] ?? 0) + 1;
    const offset = Number(this.getResponseHeader('Upload-Offset'));
    const upload = this.getResponseHeader('Location') ?? this.responseURL;
    if (offset > (watch.acknowledged[upload] ?? 0)) watch.acknowledged[upload] = offset;
  });
  this.addEventListener('error', () => { watch.broken += 1; });
  return send.call(this, body);
};
