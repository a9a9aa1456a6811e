// Command anyvip-lab runs containerlab topology files without containers, and
// holds the small programs that such labs need.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/anyvip/anyvip/lab"
)

// exitCode is an error that only carries an exit code: all is said already.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// errUsage is a wrong call that was explained already.
var errUsage = exitCode(2)

func main() {
	lab.Init()
	if filepath.Base(os.Args[0]) == "ip" { // as in our container images
		os.Exit(status(lab.IP(os.Args)))
	}
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	if len(args) == 0 || slices.Contains([]string{"help", "-h", "-help", "--help"}, args[0]) {
		usage()
		return 2
	}
	for _, c := range commands {
		if c.name == args[0] {
			return status(c.run(args[1:]))
		}
	}
	fmt.Fprintf(os.Stderr, "anyvip-lab: no command %q\n", args[0])
	usage()
	return 2
}

// status prints err and maps it to an exit code.
func status(err error) int {
	var code exitCode
	switch {
	case err == nil:
		return 0
	case errors.Is(err, flag.ErrHelp):
		return 2
	case errors.As(err, &code):
		return int(code)
	}
	fmt.Fprintln(os.Stderr, "anyvip-lab:", err)
	return 1
}
