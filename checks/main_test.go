package checks

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if address := os.Getenv(proberVariable); address != "" {
		beProber(address)
		return
	}
	goleak.VerifyTestMain(m)
}
