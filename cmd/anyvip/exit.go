package main

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// usageError is a call that cobra did not understand: exit code 2.
type usageError struct{ error }

// exitCode prints err and maps it: 0 ok, 1 failure, 2 usage.
func exitCode(err error) int {
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		complain("anyvip: %v\nanyvip --help tells more\n", err)
		return 2
	}
	complain("anyvip: %v\n", err)
	return 1
}

// complain writes to stderr, for at most a second: a pipe that nobody reads
// must not keep an agent that has ended from exiting.
func complain(format string, args ...any) {
	written := make(chan struct{})
	go func() { defer close(written); fmt.Fprintf(os.Stderr, format, args...) }()
	select {
	case <-written:
	case <-time.After(time.Second):
	}
}
