// Command plain is a bare tray program.
package main

import "github.com/valetkey/valetkey/e2e/bench/testdata/tray"

func main() { tray.Run() }
