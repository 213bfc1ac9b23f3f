#!/usr/bin/perl
# through_perl.pl socks4|socks4a|socks5|socks5h PROXY PORT HOST PORT [USER PASSWORD]: stdin and stdout through IO::Socket::Socks.
use strict;
use warnings;
use FindBin;
use IO::Socket::Socks qw(:DEFAULT $SOCKS_ERROR);
require "$FindBin::Bin/pump.pl";

my ($scheme, $proxy, $proxy_port, $host, $port, $user, $password) = @ARGV;
my $socket = IO::Socket::Socks->new(
    ProxyAddr => $proxy, ProxyPort => $proxy_port, ConnectAddr => $host, ConnectPort => $port, Timeout => 15,
    SocksVersion => $scheme =~ /^socks4/ ? 4 : 5, SocksResolve => $scheme =~ /[ah]$/ ? 1 : 0,
    defined $user ? (AuthType => 'userpass', Username => $user, Password => $password) : ()) or die "refused: $SOCKS_ERROR\n";
pump($socket);
