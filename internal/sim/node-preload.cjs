// Sends the TLS connections of a Node that does not know NODE_USE_ENV_PROXY
// through the proxy in HTTPS_PROXY: those of https.request and of fetch.
'use strict';
const net = require('net');
const tls = require('tls');
const { Duplex } = require('stream');

const [major, minor] = process.versions.node.split('.').map(Number);
const knows = major >= 24 || (major === 22 && minor >= 21);
const proxy = process.env.HTTPS_PROXY && new URL(process.env.HTTPS_PROXY);
const local = new Set(['localhost', '127.0.0.1', '::1']);

// Tunnel is a connection to a host through the proxy. What is written before the
// proxy has answered waits.
class Tunnel extends Duplex {
  constructor(host, port) {
    super();
    this.waiting = null;
    this.head = Buffer.alloc(0);
    this.open = false;
    this.raw = net.connect(Number(proxy.port), proxy.hostname, () => {
      this.raw.write(`CONNECT ${host}:${port} HTTP/1.1\r\nHost: ${host}:${port}\r\n\r\n`);
    });
    this.raw.on('data', (chunk) => this.receive(chunk));
    this.raw.on('end', () => this.push(null));
    this.raw.on('error', (err) => this.destroy(err));
    this.raw.on('close', () => this.destroy());
  }

  receive(chunk) {
    if (this.open) {
      if (!this.push(chunk)) this.raw.pause();
      return;
    }
    this.head = Buffer.concat([this.head, chunk]);
    const end = this.head.indexOf('\r\n\r\n');
    if (end < 0) return;
    if (!this.head.subarray(0, end).toString().startsWith('HTTP/1.1 200')) {
      this.destroy(new Error(this.head.toString().trim()));
      return;
    }
    this.open = true;
    const rest = this.head.subarray(end + 4);
    if (rest.length > 0) this.push(rest);
    if (this.waiting) this.raw.write(this.waiting.chunk, this.waiting.done);
    this.waiting = null;
  }

  _read() {
    this.raw.resume();
  }

  _write(chunk, _encoding, done) {
    if (this.open) this.raw.write(chunk, done);
    else this.waiting = { chunk, done };
  }

  _final(done) {
    this.raw.end(done);
  }

  _destroy(err, done) {
    this.raw.destroy();
    done(err);
  }
}

if (proxy && !knows) {
  const direct = tls.connect;
  tls.connect = function connect(...args) {
    const options = args.find((a) => a && typeof a === 'object') || {};
    const port = typeof args[0] === 'number' ? args[0] : options.port;
    const host = typeof args[1] === 'string' ? args[1] : options.host || options.hostname;
    if (options.socket || !host || local.has(host)) return direct.apply(this, args);
    const done = args.find((a) => typeof a === 'function');
    const through = { servername: host, ...options, socket: new Tunnel(host, port || 443) };
    return direct.call(this, through, done);
  };
}
