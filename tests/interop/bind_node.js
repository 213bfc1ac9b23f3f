#!/usr/bin/env node
// bind_node.js socks4|socks5 PROXY PORT PEER PEER_PORT [USER PASSWORD]: BIND by node-socks for a connection from PEER;
// prints where the proxy listens, then joins stdin and stdout to the connection.
'use strict';
const { SocksClient } = require('socks');

const [scheme, host, port, peer, peerPort, userId, password] = process.argv.slice(2);
const proxy = { host, port: Number(port), type: scheme.startsWith('socks4') ? 4 : 5, userId, password };

const client = new SocksClient({ proxy, command: 'bind', destination: { host: peer, port: Number(peerPort) }, timeout: 15000 });
client.on('bound', ({ remoteHost }) => process.stdout.write(`${remoteHost.host} ${remoteHost.port}\n`));
client.on('established', ({ socket }) => {
  socket.allowHalfOpen = true; // else node ends its own direction when the other ends
  process.stdin.pipe(socket).pipe(process.stdout);
  socket.resume();
});
client.on('error', (error) => {
  console.error(`${error.name}: ${error.message}`);
  process.exitCode = 1;
});
client.connect();
