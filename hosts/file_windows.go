package hosts

import "os"

// keepOwner does nothing: a new file inherits what its folder grants, as the hosts' own files do.
func keepOwner(string, *os.File) error { return nil }
