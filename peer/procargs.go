package peer

import (
	"bytes"
	"encoding/binary"
)

// splitProcArgs reads what macOS answers to the sysctl kern.procargs2: the number of arguments (32 bits), the path
// that was executed, padding, the arguments, each with a NUL behind it, and then the environment, which is not touched.
func splitProcArgs(b []byte) []string {
	if len(b) < 4 {
		return nil
	}
	count := int(binary.NativeEndian.Uint32(b))
	_, b, ok := bytes.Cut(b[4:], []byte{0})
	if !ok {
		return nil
	}
	b = bytes.TrimLeft(b, "\x00")
	var args []string
	size := 0
	for range min(max(count, 0), maxArgs) {
		arg, rest, ok := bytes.Cut(b, []byte{0})
		if size += len(arg); !ok || size > maxArgBytes {
			break
		}
		args, b = append(args, string(arg)), rest
	}
	return args
}
