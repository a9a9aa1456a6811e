package lease

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/anyvip/anyvip/pkg/durable"
)

const ledgerVersion = 1

// ledgerFile is what leases.json says: the addresses that we may have added. A
// candidate that was never held is in it as well, and cannot be told from one that was.
type ledgerFile struct {
	Version int `json:"version"`
	durable.Life
	Addresses []ledgerEntry `json:"addresses"`
}

type ledgerEntry struct {
	Address netip.Addr `json:"address"`
	Link    string     `json:"link"` // for who reads the file
	Index   int        `json:"index"`
}

// encode is the file's content. The value of a spot is its link's name.
func encode(books map[spot]string, l durable.Life) ([]byte, error) {
	f := ledgerFile{Version: ledgerVersion, Life: l, Addresses: []ledgerEntry{}}
	for _, s := range slices.SortedFunc(maps.Keys(books), compareSpots) {
		f.Addresses = append(f.Addresses, ledgerEntry{s.addr, books[s], s.index})
	}
	raw, err := json.MarshalIndent(f, "", "\t")
	return append(raw, '\n'), err
}

// decode reads a file's content. One of another life is empty.
func decode(raw []byte, l durable.Life) (map[spot]string, error) {
	var f ledgerFile
	if err := durable.Decode(raw, &f); err != nil {
		return nil, err
	}
	if f.Version != ledgerVersion {
		return nil, fmt.Errorf("version is %d, not %d", f.Version, ledgerVersion)
	}
	if f.Boot == "" {
		return nil, errors.New("boot_id is missing")
	}
	books := make(map[spot]string, len(f.Addresses))
	for i, e := range f.Addresses {
		s := spot{e.Address, e.Index}
		if !e.Address.IsValid() || e.Address.Is4In6() || e.Address.Zone() != "" || e.Index <= 0 {
			return nil, fmt.Errorf("addresses[%d] lacks its address or its link's index", i)
		}
		if _, twice := books[s]; twice {
			return nil, fmt.Errorf("addresses[%d]: %s is there twice", i, e.Address)
		}
		books[s] = e.Link
	}
	if f.Life != l {
		return map[spot]string{}, nil
	}
	return books, nil
}

// compareSpots orders by address, IPv4 first, and then by link.
func compareSpots(a, b spot) int {
	if c := a.addr.Compare(b.addr); c != 0 {
		return c
	}
	return a.index - b.index
}
