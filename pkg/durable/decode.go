package durable

import (
	"bytes"
	"encoding/json"
	"errors"
)

// Decode reads a file's content, which is one JSON value, into what file points to. A
// field that file lacks is an error, and so is whatever follows the value: what we do
// not understand we would lose with the next write.
func Decode(raw []byte, file any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(file); err != nil {
		return err
	}
	if d.More() {
		return errors.New("something follows the end")
	}
	return nil
}
