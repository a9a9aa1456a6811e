package bench

import "testing"

const microSample = `goos: linux
BenchmarkDecide/1000-services-2000-checks-2         	     576	   1015264 ns/op	  988946 B/op	    21 allocs/op
BenchmarkDecide/1-service-10000-addresses-2         	     188	   6592477 ns/op	 2099056 B/op	      19 allocs/op
BenchmarkAResultThatChangesNothing 	20347176	        57.19 ns/op	       0 B/op	       0 allocs/op
PASS
`

func TestMicroTargets(t *testing.T) {
	b := bench{Options: Options{Micro: microSample}}
	if err := b.aimMicro(); err != nil {
		t.Fatal(err)
	}
	for i, want := range []target{
		{what: "a decision over 1,000 services with 2,000 checks", limit: "under 1 ms", measured: "1.02 ms", why: whyDecide},
		{what: "a result that changes nothing", limit: "under 5 us", measured: "0.06 us", met: true},
		{what: "a result that changes nothing, allocations", limit: "0", measured: "0", met: true},
	} {
		if b.targets[i] != want {
			t.Errorf("got %+v, want %+v", b.targets[i], want)
		}
	}
	b.Micro = "FAIL\n"
	if err := b.aimMicro(); err == nil {
		t.Error("what was not measured counts")
	}
}
