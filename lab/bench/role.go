package bench

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// roles are the programs that nodes of the labs run.
var roles = map[string]func(ctx context.Context, args []string) error{
	"gauge":   gauge,
	"service": switchService,
	"ask":     ask,
	"echo":    echo,
	"hold":    hold,
	"sniff":   sniff,
	"probe":   probe,
}

// Role runs `anyvip-lab bench ROLE ...`, one of the programs that the labs of this package need, until a signal. ok is
// false if args do not begin with the name of one.
func Role(args []string) (ok bool, err error) {
	if len(args) == 0 {
		return false, nil
	}
	role, ok := roles[args[0]]
	if !ok {
		return false, nil
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return true, role(ctx, args[1:])
}
