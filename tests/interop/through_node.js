#!/usr/bin/env node
// through_node.js socks4|socks4a|socks5|socks5h PROXY PORT HOST PORT [USER PASSWORD]: stdin and stdout through node-socks.
'use strict';
const { SocksClient } = require('socks');

const [scheme, host, port, to, toPort, userId, password] = process.argv.slice(2);
const proxy = { host, port: Number(port), type: scheme.startsWith('socks4') ? 4 : 5, userId, password };

SocksClient.createConnection({ proxy, command: 'connect', destination: { host: to, port: Number(toPort) }, timeout: 15000 })
  .then(({ socket }) => {
    socket.allowHalfOpen = true; // else node ends its own direction when the other ends
    process.stdin.pipe(socket).pipe(process.stdout);
    socket.resume();
  })
  .catch((error) => {
    console.error(`${error.name}: ${error.message}`);
    process.exitCode = 1;
  });
