package container

import (
	"os"
	"testing"

	"github.com/anyvip/anyvip/lab"
)

func TestMain(m *testing.M) {
	lab.Init()
	os.Exit(m.Run())
}
