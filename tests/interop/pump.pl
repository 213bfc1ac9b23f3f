# Joins stdin and stdout to a connected socket, each direction to its own end, as `nc -N` does, and exits.
use strict;
use warnings;

sub copy {
    my ($from, $to) = @_;
    while (my $got = sysread $from, my $data, 65536) {
        for (my $at = 0; $at < $got;) { $at += syswrite($to, $data, $got - $at, $at) // die "write: $!\n" }
    }
}

sub pump {
    my ($socket) = @_;
    binmode STDIN; binmode STDOUT;
    $SIG{PIPE} = 'IGNORE';
    my $sender = fork // die "fork: $!\n";
    if ($sender == 0) { copy(\*STDIN, $socket); shutdown $socket, 1; exit 0 }
    copy($socket, \*STDOUT);
    waitpid $sender, 0;
    exit($? >> 8);
}

1;
