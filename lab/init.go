package lab

import (
	"os"

	"github.com/anyvip/anyvip/lab/internal/node"
	"github.com/anyvip/anyvip/lab/internal/supervisor"
)

// The names under which the binary is started in its other roles. They show in ps.
const (
	supervisorName  = "anyvip-lab-supervisor"
	nodeProcessName = "anyvip-lab-node"
)

// Init has to be the first call of main and TestMain in every binary that calls
// Up. In a process that Up started it does not return.
func Init() {
	switch os.Args[0] {
	case supervisorName:
		os.Exit(supervisor.Main(nodeProcessName))
	case nodeProcessName:
		os.Exit(node.Main())
	}
}
