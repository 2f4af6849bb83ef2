"use strict";
// SHA-256 piece by piece. The browsers' own takes a whole at once, and is absent on plain http.
const PRIMES = [];
for (let number = 2; PRIMES.length < 64; number++) if (PRIMES.every((prime) => number % prime)) PRIMES.push(number);
const fraction = (root) => Math.floor((root % 1) * 2 ** 32) | 0;
const ROUNDS = Int32Array.from(PRIMES, (prime) => fraction(Math.cbrt(prime)));
const BEGIN = Int32Array.from(PRIMES.slice(0, 8), (prime) => fraction(Math.sqrt(prime)));

class Sha256 {
  #state = BEGIN.slice();
  #block = new Uint8Array(64); // what is no whole block yet
  #words = new Int32Array(16);
  #length = 0;

  update(bytes) {
    let at = 0;
    const held = this.#length % 64;
    this.#length += bytes.length;
    if (held) {
      at = Math.min(64 - held, bytes.length);
      this.#block.set(bytes.subarray(0, at), held);
      if (held + at < 64) return this;
      this.#take(this.#block, 0);
    }
    for (; at + 64 <= bytes.length; at += 64) this.#take(bytes, at);
    this.#block.set(bytes.subarray(at));
    return this;
  }

  hex() {
    const length = this.#length;
    const end = new Uint8Array(72 - ((length + 8) % 64));
    end[0] = 0x80;
    const view = new DataView(end.buffer);
    view.setUint32(end.length - 8, Math.floor(length / 2 ** 29));
    view.setUint32(end.length - 4, (length * 8) % 2 ** 32);
    this.update(end);
    return Array.from(this.#state, (word) => (word >>> 0).toString(16).padStart(8, "0")).join("");
  }

  #take(bytes, at) {
    const words = this.#words;
    const state = this.#state;
    const rounds = ROUNDS;
    let a = state[0], b = state[1], c = state[2], d = state[3], e = state[4], f = state[5], g = state[6], h = state[7];
    for (let i = 0; i < 64; i++) {
      let word;
      if (i < 16) {
        word = (bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3];
        at += 4;
      } else {
        const x = words[(i + 1) & 15];
        const y = words[(i + 14) & 15];
        const low = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
        const high = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
        word = (words[i & 15] + low + words[(i + 9) & 15] + high) | 0;
      }
      words[i & 15] = word;
      const high = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
      const one = (h + high + ((e & f) ^ (~e & g)) + rounds[i] + word) | 0;
      const low = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
      const two = (low + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g; g = f; f = e; e = (d + one) | 0; d = c; c = b; b = a; a = (one + two) | 0;
    }
    state[0] += a; state[1] += b; state[2] += c; state[3] += d; state[4] += e; state[5] += f; state[6] += g; state[7] += h;
  }
}

// As a worker: is told of files, by numbers, and tells their hashes; a number alone means that nobody waits any more.
if (typeof WorkerGlobalScope !== "undefined") {
  const PIECE = 4 << 20;
  const left = new Set();
  onmessage = async ({ data: { id, file } }) => {
    if (!file) return void left.add(id);
    left.delete(id);
    const sha256 = new Sha256();
    try {
      for (let at = 0; at < file.size; at += PIECE) {
        sha256.update(new Uint8Array(await file.slice(at, at + PIECE).arrayBuffer()));
        if (left.has(id)) return;
      }
      postMessage({ id, sha256: sha256.hex() });
    } catch {
      postMessage({ id, unread: true });
    }
  };
}
