#!/usr/bin/perl
# udp_perl.pl socks5|socks5h PROXY PORT HOST PORT [USER PASSWORD]: stdin in datagrams through IO::Socket::Socks, each after the
# answer to the one before, and the answers to stdout.
use strict;
use warnings;
use IO::Socket::Socks qw(:DEFAULT $SOCKS_ERROR);

my ($scheme, $proxy, $proxy_port, $host, $port, $user, $password) = @ARGV;
my $socket = IO::Socket::Socks->new(
    ProxyAddr => $proxy, ProxyPort => $proxy_port, UdpAddr => '0.0.0.0', UdpPort => 0, Timeout => 15, SocksResolve => $scheme =~ /h$/ ? 1 : 0,
    defined $user ? (AuthType => 'userpass', Username => $user, Password => $password) : ()) or die "refused: $SOCKS_ERROR\n";
binmode STDIN; binmode STDOUT;
my ($data, $at, $number, @sizes) = (do { local $/; <STDIN> }, 0, 0, 1200, 1, 8000, 512);
$SIG{ALRM} = sub { die "no answer\n" };
while ($at < length $data) {
    my $part = substr $data, $at, $sizes[$number++ % @sizes];
    $at += length $part;
    alarm 10;
    defined $socket->send($part, 0, [$host, $port]) or die "send: $! $SOCKS_ERROR\n";
    defined $socket->recv(my $answer, 65536) or die "recv: $! $SOCKS_ERROR\n";
    print $answer;
}
