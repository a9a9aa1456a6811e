package api

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain is also the other end of TestLookingIsNotChanging.
func TestMain(m *testing.M) {
	if socket := os.Getenv("ANYVIP_TEST_SOCKET"); socket != "" {
		if err := asNobody(socket); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}
