// Walctl reads, checks and repairs the write-ahead log of a Milvus streaming node.
package main

import (
	"os"

	"github.com/walctl/walctl/cmd"
)

func main() { os.Exit(cmd.Execute()) }
