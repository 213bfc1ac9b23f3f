#!/usr/bin/env node
// udp_node.js socks5h PROXY PORT HOST PORT [USER PASSWORD]: stdin in datagrams through node-socks, each after the answer to the one
// before, and the answers to stdout.
'use strict';
const dgram = require('dgram');
const fs = require('fs');
const { SocksClient } = require('socks');

const [, host, port, to, toPort, userId, password] = process.argv.slice(2);
const proxy = { host, port: Number(port), type: 5, userId, password };
const sizes = [1200, 1, 8000, 512];
const data = fs.readFileSync(0);

const exchange = ({ socket, remoteHost }) => {
  const udp = dgram.createSocket(remoteHost.host.includes(':') ? 'udp6' : 'udp4');
  const patience = setTimeout(() => process.exit(1), 10000);
  let at = 0;
  let number = 0;
  const next = () => {
    if (at >= data.length) {
      clearTimeout(patience);
      udp.close();
      socket.destroy();
      return;
    }
    const part = data.subarray(at, at + sizes[number++ % sizes.length]);
    at += part.length;
    udp.send(SocksClient.createUDPFrame({ remoteHost: { host: to, port: Number(toPort) }, data: part }), remoteHost.port, remoteHost.host);
  };
  udp.on('message', (message) => {
    process.stdout.write(SocksClient.parseUDPFrame(message).data);
    next();
  });
  socket.resume();
  next();
};

const client = new SocksClient({ proxy, command: 'associate', destination: { host: '0.0.0.0', port: 0 }, timeout: 15000 });
client.on('established', exchange);
client.on('error', (error) => {
  console.error(`${error.name}: ${error.message}`);
  process.exitCode = 1;
});
client.connect();
