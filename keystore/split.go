package keystore

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strconv"
)

// A value lives in one head item under its own name. When it fits there, that is all. Otherwise the head tells how to
// find it: Count pieces of the generation the head names, each an item of its own.
//
// A new value is written into the generation that the head does not name, piece by piece from 0 up, and only then the
// head, in one write. Pieces are removed from the last down to 0. So whatever a crash leaves of a generation is its
// beginning, without a hole, and can be found by asking for piece 0, 1, 2 until one is not there; the keychains we
// reach cannot be asked for a list.
const (
	headVersion = 1
	generations = 2
	maxPieces   = 64
)

// head is the content of a head item, as JSON.
type head struct {
	Version    int    `json:"v"`
	Length     int    `json:"length"`
	SHA256     string `json:"sha256"`
	Value      []byte `json:"value,omitempty"`      // the whole value, when it fits
	Generation int    `json:"generation,omitempty"` // else 1 to generations
	Count      int    `json:"count,omitempty"`      // and the number of its pieces
}

var (
	errDamaged = &Error{kind: ErrUnreadable, reason: "a value in the keychain is damaged"}
	errNewer   = &Error{kind: ErrUnreadable, reason: "a value in the keychain was written by a newer Valet Key",
		Hint: "update this program"}
)

// split lays value out for items of at most limit bytes, in the given generation if one item is not enough. All items
// are ASCII, because KeePassXC damages anything else.
func split(value []byte, limit, generation int) (h head, pieces []string, err error) {
	h = newHead(value)
	h.Value = value
	if len(h.encode()) <= limit {
		return h, nil, nil
	}
	size := limit / 4 * 3 // what base64 makes limit bytes of
	for rest := value; len(rest) > 0; rest = rest[min(size, len(rest)):] {
		pieces = append(pieces, base64.StdEncoding.EncodeToString(rest[:min(size, len(rest))]))
	}
	if len(pieces) > maxPieces {
		return head{}, nil, errors.New("a value needs more keychain items than one value may have")
	}
	h.Value, h.Generation, h.Count = nil, generation, len(pieces)
	return h, pieces, nil
}

func newHead(value []byte) head {
	sum := sha256.Sum256(value)
	return head{Version: headVersion, Length: len(value), SHA256: hex.EncodeToString(sum[:])}
}

func (h head) encode() string {
	b, err := json.Marshal(h)
	if err != nil {
		panic("keystore: " + err.Error()) // a struct of numbers, strings and bytes
	}
	return string(b)
}

// decodeHead reads the content of a head item. Its errors are errDamaged and errNewer.
func decodeHead(text string) (head, error) {
	var version struct {
		Version int `json:"v"`
	}
	if json.Unmarshal([]byte(text), &version) != nil || version.Version < 1 {
		return head{}, errDamaged // the decoder's own error would quote the item
	}
	if version.Version > headVersion {
		return head{}, errNewer
	}
	var h head
	if json.Unmarshal([]byte(text), &h) != nil {
		return head{}, errDamaged
	}
	if h.Generation == 0 && h.Count == 0 {
		return h, h.check(h.Value)
	}
	if h.Generation < 1 || h.Generation > generations || h.Count < 1 || h.Count > maxPieces || h.Value != nil {
		return head{}, errDamaged
	}
	return h, nil
}

// check compares value with what the head says of it.
func (h head) check(value []byte) error {
	if want := newHead(value); h.Length != want.Length || h.SHA256 != want.SHA256 {
		return errDamaged
	}
	return nil
}

// pieceName names an item that holds a piece. No name of a value contains '#'.
func pieceName(name string, generation, i int) string {
	return name + "#" + strconv.Itoa(generation) + "#" + strconv.Itoa(i)
}

// otherGeneration is one that is not in use. Zero stands for none.
func otherGeneration(used int) int { return used%generations + 1 }
