#!/usr/bin/perl
# bind_perl.pl socks4|socks5 PROXY PORT PEER PEER_PORT [USER PASSWORD]: BIND by IO::Socket::Socks for a connection from PEER;
# prints where the proxy listens, then joins stdin and stdout to the connection.
use strict;
use warnings;
use FindBin;
use IO::Socket::Socks qw(:DEFAULT $SOCKS_ERROR);
require "$FindBin::Bin/pump.pl";

my ($scheme, $proxy, $proxy_port, $peer, $peer_port, $user, $password) = @ARGV;
my $socket = IO::Socket::Socks->new(
    ProxyAddr => $proxy, ProxyPort => $proxy_port, BindAddr => $peer, BindPort => $peer_port, Timeout => 15,
    SocksVersion => $scheme =~ /^socks4/ ? 4 : 5,
    defined $user ? (AuthType => 'userpass', Username => $user, Password => $password) : ()) or die "refused: $SOCKS_ERROR\n";
my ($host, $port) = $socket->dst;
$| = 1;
print "$host $port\n";
$socket->accept or die "nobody came: $SOCKS_ERROR\n";
pump($socket);
