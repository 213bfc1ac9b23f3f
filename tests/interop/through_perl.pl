#!/usr/bin/perl
# through_perl.pl socks4|socks4a|socks5|socks5h PROXY PORT HOST PORT [USER PASSWORD]: stdin and stdout through IO::Socket::Socks.
use strict;
use warnings;
use IO::Socket::Socks qw(:DEFAULT $SOCKS_ERROR);

my ($scheme, $proxy, $proxy_port, $host, $port, $user, $password) = @ARGV;
$IO::Socket::Socks::SOCKET_CLASS = 'IO::Socket::IP';  # knows IPv6
my $socket = IO::Socket::Socks->new(
    ProxyAddr => $proxy, ProxyPort => $proxy_port, ConnectAddr => $host, ConnectPort => $port, Timeout => 15,
    SocksVersion => $scheme =~ /^socks4/ ? 4 : 5, SocksResolve => $scheme =~ /[ah]$/ ? 1 : 0,
    defined $user ? (AuthType => 'userpass', Username => $user, Password => $password) : ()) or die "refused: $SOCKS_ERROR\n";
binmode STDIN; binmode STDOUT;
$SIG{PIPE} = 'IGNORE';

sub copy {
    my ($from, $to) = @_;
    while (my $got = sysread $from, my $data, 65536) {
        for (my $at = 0; $at < $got;) { $at += syswrite($to, $data, $got - $at, $at) // die "write: $!\n" }
    }
}
my $sender = fork // die "fork: $!\n";
if ($sender == 0) { copy(\*STDIN, $socket); shutdown $socket, 1; exit 0 }
copy($socket, \*STDOUT);
waitpid $sender, 0;
exit($? >> 8);
