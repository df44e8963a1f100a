"""BertModel: a config, its parameters and the code that runs them, spelled as in transformers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from numpy_bert.arrays import Array, BoolArray, IntArray, as_dtype, memory_for
from numpy_bert.blocks.embeddings import EmbeddingsSteps
from numpy_bert.blocks.encoder import (
    EncoderSteps,
    LayerSteps,
    PoolerSteps,
    encoder_layers,
    first_token,
    pooler,
    relative_bias,
)
from numpy_bert.config import BertConfig
from numpy_bert.errors import CheckpointError, InputError
from numpy_bert.foreign import check_accepted
from numpy_bert.inputs import (
    ModelInputs,
    check_outputs,
    model_inputs,
    packed_inputs,
    packed_places,
    padded,
)
from numpy_bert.loading.tensors import LoadingInfo
from numpy_bert.model.embeddings import FEWER, BertEmbeddings
from numpy_bert.model.faults import check_finite, check_weights
from numpy_bert.model.fresh import new_model
from numpy_bert.model.loaded import load
from numpy_bert.model.names import CALL, LOADING, check_config, check_type
from numpy_bert.model.outputs import BertModelOutput, BertSteps
from numpy_bert.model.packed import PackedModel, States
from numpy_bert.model.saving import Saveable
from numpy_bert.ops.linear import linear
from numpy_bert.parameters import BertEncoderParameters, BertParameters
from numpy_bert.trace import named_steps

__all__ = ["BertModel"]

# The names of what stands between the embedding and the layers of some models.
_PROJECTED, _BIAS = "embeddings_project", "encoder.relative_attention_bias"


class BertModel(Saveable):
    """BERT, loaded: embedding, encoder and pooler.

    A model of another architecture of its family is of a subclass (`numpy_bert.model.family`), and
    runs by the same code. A call changes nothing that another one could see, so threads can share a
    model. A copy or a pickle of it carries the weights and the config alone, whatever it was used
    for.

    Parameters
    ----------
    config : BertConfig
        Sizes and settings.
    parameters : BertParameters, optional
        The weights; by default new ones, in float32.
    loading_info : LoadingInfo, optional
        What became of the checkpoint that they are from.
    seed : int
        The seed of new weights.

    Attributes
    ----------
    config : BertConfig
        Sizes and settings.
    parameters : BertParameters
        The weights, named as in transformers.
    embeddings : BertEmbeddings
        The input embedding.
    loading_info : LoadingInfo
        What the checkpoint held, lacked, and what was cast.

    Examples
    --------
    >>> from numpy_bert import BertModel
    >>> model = BertModel.from_pretrained("demo")
    >>> model
    BertModel(num_hidden_layers=2, hidden_size=128, vocab_size=8000, dtype=float32)
    >>> model([[2, 5, 3]]).last_hidden_state.shape
    (1, 3, 128)
    >>> model.loading_info.unexpected_keys[0]
    'cls.predictions.bias'
    >>> BertModel(model.config)([[2, 5, 3]]).last_hidden_state.shape  # with random weights
    (1, 3, 128)
    """

    # The architecture that the class is for, by its config's name, and which of its encoders.
    model_type: ClassVar[str] = "bert"
    encoder_name: ClassVar[str] = ""
    _fixed = frozenset({"config", "parameters", "loading_info", "embeddings"})
    _prepared = frozenset({"embeddings", "_packed", "_sound"})
    # The parts whose weights have been looked at, which is done when they are used first.
    _sound: frozenset[str] = frozenset()

    def __init__(
        self,
        config: BertConfig,
        parameters: BertParameters | None = None,
        loading_info: LoadingInfo | None = None,
        *,
        seed: int = 0,
    ) -> None:
        name = type(self).__name__
        check_type(name, self.model_type, check_config(name, config), f"{name}(config)")
        self.config = config
        self.parameters = new_model(config, seed) if parameters is None else parameters
        self.loading_info = LoadingInfo() if loading_info is None else loading_info
        self._prepare()

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        dtype: npt.DTypeLike = "float32",
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        token: bool | str | None = False,
        only: Literal["embeddings"] | None = None,
        mmap: bool = True,
        **others: Any,
    ) -> BertModel:
        """Load a published checkpoint.

        Parameters
        ----------
        name_or_path, revision, cache_dir, local_files_only, token
            They are those of `numpy_bert.fetch`.
        only : {"embeddings"}, optional
            Load, and where the cache has nothing fetch, the input embedding alone; that the rest is
            absent is no error. To be asked for, since a part of a file cannot be checked against
            the whole file's hash.
        dtype : {"float32", "float64"}
            What to compute in. Tensors stored otherwise are listed in ``loading_info.cast``. F16
            and BF16 widen exactly; the look-up tables stay as they are stored, and only the rows
            that are used are widened.
        mmap : bool
            Map the file into memory where its dtype allows (the default): only the rows that are
            used are read, and processes share them. A file that is shortened while it is mapped
            ends the process; with False the weights are copied, and a change is an error.
        **others
            What else transformers' from_pretrained takes, where it asks for what happens anyway, as
            ``device_map="cpu"``.

        Raises
        ------
        ConfigError, CheckpointError
            If the files do not fit; the message names the file, the field or the tensors.
        """
        check_accepted(f"{cls.__name__}.from_pretrained", others, LOADING)
        loaded = load(
            name_or_path,
            cls.class_for,
            dtype=as_dtype(dtype),
            revision=revision,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            token=token,
            only=only,
            mmap=mmap,
        )
        kind = cls.class_for(loaded.config, str(loaded.folder), loaded.encoder)
        return kind(loaded.config, loaded.parameters, loaded.info)

    @classmethod
    def class_for(cls, config: BertConfig, where: str, encoder: str = "") -> type[BertModel]:
        """Return the class of what `from_pretrained` has found: this one, if it is for that.

        Parameters
        ----------
        config : BertConfig
            Its config.
        where : str
            What messages call it.
        encoder : str
            Which class its tensors' names tell, where an architecture has several.

        Raises
        ------
        ConfigError, CheckpointError
            If another class is for it; the message names that.
        """
        check_type(cls.__name__, cls.model_type, config, where)
        if encoder not in ("", cls.encoder_name):
            raise CheckpointError(
                f"{where}: holds a {encoder}, and {cls.__name__} is for another one. Use {encoder}."
            )
        return cls

    def __call__(
        self,
        input_ids: npt.ArrayLike | None = None,
        attention_mask: npt.ArrayLike | None = None,
        token_type_ids: npt.ArrayLike | None = None,
        position_ids: npt.ArrayLike | None = None,
        inputs_embeds: npt.ArrayLike | None = None,
        *,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        unpad_inputs: bool = True,
        rng: np.random.Generator | None = None,
        return_dict: Literal[True] | None = True,
    ) -> BertModelOutput:
        """Run the model: in float32 by the kernels, in float64 by the readable code.

        Parameters
        ----------
        input_ids : array_like of int, shape (B, T)
            The ids of tokens. Either these or `inputs_embeds`.
        attention_mask : array_like of int, float or bool, shape (B, T), optional
            1 where a token is, 0 where padding is, anywhere in a row; all 1 by default, but in a
            DPR 0 where the id is padding's.
        token_type_ids : array_like of int, shape (B, T), optional
            The segment of each token; all 0 by default. A DistilBERT and an MPNet, which have no
            segments, pass over them, as in transformers.
        position_ids : array_like of int, shape (T,), (1, T) or (B, T), optional
            The position of each token. By default 0 to T - 1, padding or not; in a RoBERTa, and
            what is like it, they count the ids that are not padding's, from ``pad_token_id + 1``.
        inputs_embeds : array_like of float, shape (B, T, H), optional
            Rows to use in place of the words' look-up, in the model's dtype.
        output_hidden_states, output_attentions : bool
            Whether to return every layer's output, and the weights of its attention: what the
            values are multiplied by, after dropout where that is on.
        unpad_inputs : bool
            Whether padding is left out, which is faster: then zeros stand at padding in every state
            and in all weights, and a `pooler_output` whose first token is padding means nothing.
            With False padding is computed like any token, as transformers' eager code does. With
            `rng` it always is.
        rng : numpy.random.Generator, optional
            It turns dropout on, wherever BERT has it, and draws its masks.
        return_dict : True, optional
            It is always so; an output's `to_tuple` makes a tuple of it.

        Returns
        -------
        BertModelOutput
            last_hidden_state, pooler_output, hidden_states, attentions. What stands at tokens does
            not depend on what else was asked for.

        Raises
        ------
        InputError
            If an argument does not fit; the message names it, the place, the value and the limit.
        CheckpointError
            If a weight that is used, or the result, is not finite; the weight or the step is named.
        OutOfMemoryError
            If there is no memory for it; the message says how much was asked for, and what for.
        """
        check_accepted(type(self).__name__, {"return_dict": return_dict}, CALL)
        check_outputs(output_hidden_states, output_attentions, unpad_inputs=unpad_inputs)
        inputs = self.inputs(input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        return self.run(
            inputs,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            unpad_inputs=unpad_inputs,
            rng=rng,
        )

    def steps(
        self,
        input_ids: npt.ArrayLike | None = None,
        attention_mask: npt.ArrayLike | None = None,
        token_type_ids: npt.ArrayLike | None = None,
        position_ids: npt.ArrayLike | None = None,
        inputs_embeds: npt.ArrayLike | None = None,
        *,
        rng: np.random.Generator | None = None,
    ) -> BertSteps:
        """Return every intermediate of the model, computed by the readable code.

        The parameters and the errors are those of a call. Padding is computed like any token.

        Examples
        --------
        >>> from numpy_bert import BertModel
        >>> model = BertModel.from_pretrained("demo")
        >>> model.steps([[2, 5, 3]]).encoder.layer[1].attention.self.probs.shape
        (1, 2, 3, 3)
        """
        return self.all_steps(
            self.inputs(input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds),
            rng,
        )

    def trace(
        self,
        input_ids: npt.ArrayLike | None = None,
        attention_mask: npt.ArrayLike | None = None,
        token_type_ids: npt.ArrayLike | None = None,
        position_ids: npt.ArrayLike | None = None,
        inputs_embeds: npt.ArrayLike | None = None,
        *,
        rng: np.random.Generator | None = None,
    ) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        """Yield the name and the array of every intermediate, in execution order.

        It is what `steps` returns, with one layer in memory at a time. The parameters and the
        errors are those of a call.

        Examples
        --------
        >>> from numpy_bert import BertModel
        >>> model = BertModel.from_pretrained("demo")
        >>> name, array = next(model.trace([[2, 5, 3]]))
        >>> name, array.shape
        ('embeddings.word_embeddings', (1, 3, 128))
        """
        self.encoder_parameters()  # the arguments are checked now, not at the first step
        return self._stream(
            self.inputs(input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds),
            rng,
        )

    def packed(
        self,
        input_ids: npt.ArrayLike,
        lengths: npt.ArrayLike,
        token_type_ids: npt.ArrayLike | None = None,
        *,
        places: npt.ArrayLike | None = None,
    ) -> Array:
        """Run embedding and encoder over sequences that stand one after another, without padding.

        Parameters
        ----------
        input_ids : array_like of int, shape (N,)
            The token ids of all sequences.
        lengths : array_like of int, shape (B,)
            Tokens of each sequence, from 1; their sum is N. Best sorted: neighbours of one length
            are faster.
        token_type_ids : array_like of int, shape (N,), optional
            The segment of each token; all 0 by default.
        places : array_like of int, shape (R,), optional
            The tokens whose last hidden state is asked for, from 0 to N - 1; all by default. In
            float32 the last layer then computes of all others only what these look at.

        Returns
        -------
        ndarray of shape (N, H), or (R, H)
            The last hidden state of every token, or of those at `places`.

        Raises
        ------
        InputError
            If an argument does not fit; the message names it and says why.

        Examples
        --------
        >>> from numpy_bert import BertModel
        >>> model = BertModel.from_pretrained("demo")
        >>> model.packed([2, 3, 2, 5, 3], [2, 3]).shape
        (5, 128)
        """
        inputs, sizes = packed_inputs(
            self.parameters.embeddings,
            input_ids,
            lengths,
            token_type_ids if self.config.reads_token_types else None,
            position_padding=self.config.position_padding_idx,
        )
        asked = None if places is None else packed_places(places, inputs.shape[1])
        with self.in_memory(inputs):
            packed = self._kernels()
            if packed is not None:
                rows, finite = packed.rows(inputs, sizes, asked)
                if finite:
                    return rows
            batch = padded(inputs, sizes)
            last = self._readable(batch, every=False, weights=False).states[0]
            found = last.reshape(-1, last.shape[-1]) if batch.mask is None else last[batch.mask]
            return found if asked is None else found[asked]

    def release(self) -> None:
        """Give back the memory of the kernels' own weights, which the next call makes anew."""
        if self._packed is not None:
            self._packed.release()

    @property
    def dtype(self) -> np.dtype[Any]:
        """What the model computes in."""
        return self.embeddings.parameters.LayerNorm.weight.dtype

    def _trees(self) -> dict[str, object]:
        return {"": self.parameters}

    def inputs(
        self,
        input_ids: npt.ArrayLike | None = None,
        attention_mask: npt.ArrayLike | None = None,
        token_type_ids: npt.ArrayLike | None = None,
        position_ids: npt.ArrayLike | None = None,
        inputs_embeds: npt.ArrayLike | None = None,
    ) -> ModelInputs:
        """Return what the model is called with, checked, as all that is below a call takes it."""
        return model_inputs(
            self.parameters.embeddings,
            input_ids,
            attention_mask,
            token_type_ids if self.config.reads_token_types else None,
            position_ids,
            inputs_embeds,
            position_padding=self.config.position_padding_idx,
            masked_id=self.config.masked_id,
        )

    @np.errstate(all="ignore")
    def run(
        self,
        inputs: ModelInputs,
        *,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        unpad_inputs: bool = True,
        rng: np.random.Generator | None = None,
    ) -> BertModelOutput:
        """Run the model on checked inputs; the other arguments are those of a call."""
        every, weights = output_hidden_states, output_attentions
        with self.in_memory(inputs, every=every, weights=weights):
            packed = self._kernels() if rng is None else None
            found = None
            if packed is not None:
                padding = not unpad_inputs
                found = packed.states(inputs, every=every, weights=weights, padding=padding)
                if found is not None and not found.finite:
                    self.blame(inputs)
            is_padded = found is None
            if found is None:
                found = self._readable(inputs, every=every, weights=weights, rng=rng)
            output = BertModelOutput(
                last_hidden_state=found.states[-1],
                hidden_states=tuple(found.states) if every else None,
                attentions=tuple(found.weights) if weights else None,
            )
            if is_padded and unpad_inputs and rng is None:
                return self.without_padding(output, inputs.mask)
            return self._pooled(output)

    def in_memory(
        self, inputs: ModelInputs, *, every: bool = False, weights: bool = False
    ) -> memory_for:
        """Return a block in which a MemoryError says what a run on checked inputs takes.

        `every` and `weights` say whether all layers' states and weights are kept.
        """

        def what() -> str:
            config, (batch, length) = self.config, inputs.shape
            layers, heads = config.num_hidden_layers, config.num_attention_heads
            numbers = batch * length * config.hidden_size * (layers + 1 if every else 1)
            numbers += batch * heads * length * length * layers * weights
            size = numbers * self.dtype.itemsize
            return f"{batch} x {length} tokens, whose result alone has {size:,} bytes"

        most = "What is kept of each layer takes the most. " if every or weights else ""
        return memory_for("model", what, f"{most}{FEWER}")

    def without_padding(self, output: BertModelOutput, mask: BoolArray | None) -> BertModelOutput:
        """Return an output with zeros at padding, as if it had been left out."""
        if mask is None:
            return self._pooled(output)
        tokens = mask[..., np.newaxis]  # (B, T, 1)
        looking = mask[:, np.newaxis, :, np.newaxis]  # (B, 1, T, 1)

        def cleared(arrays: tuple[Array, ...] | None, where: BoolArray) -> tuple[Array, ...] | None:
            return arrays and tuple(np.where(where, a, a.dtype.type(0.0)) for a in arrays)

        states = cleared(output.hidden_states or (output.last_hidden_state,), tokens)
        assert states is not None
        return self._pooled(
            BertModelOutput(
                last_hidden_state=states[-1],
                hidden_states=states if output.hidden_states else None,
                attentions=cleared(output.attentions, looking),
            )
        )

    def _pooled(self, output: BertModelOutput) -> BertModelOutput:
        """Return an output with what the pooler makes of its last hidden state."""
        pooled = self.pool(output.last_hidden_state)
        return output if pooled is None else replace(output, pooler_output=pooled.output)

    @np.errstate(all="ignore")
    def hidden_at(self, inputs: ModelInputs, places: IntArray) -> Array:
        """Return the last hidden states (R, H) at places of the flat batch, zeros at padding.

        In float32 the last layer computes of all other tokens only what these look at.
        """
        with self.in_memory(inputs):
            packed = self._kernels()
            if packed is not None:
                rows, finite = packed.at(inputs, places)
                if not finite:
                    self.blame(inputs)
                return rows
            last = self.run(inputs).last_hidden_state
            return last.reshape(-1, last.shape[-1])[places]

    @np.errstate(all="ignore")
    def pool(self, hidden: Array) -> PoolerSteps | None:
        """Run the pooler over (B, T, H); None where there is none, or no token to read."""
        head = self.parameters.pooler
        takes_first = self.config.architecture.pooling == "first"
        if (head is None and not takes_first) or not hidden.shape[1]:
            return None
        if head is None:
            projection = self.parameters.encode_proj
            steps = first_token(projection, hidden)
            self._check(steps.output, "encode_proj", projection, steps, hidden[:, 0])
            return steps
        if "pooler" not in self._sound:
            check_weights({"pooler.": head}, source=self._source)
            self._sound |= {"pooler"}
        steps = pooler(head, hidden)
        self._check(steps.output, "pooler", head, steps, hidden[:, 0])
        return steps

    def projected(self, embedded: Array) -> Array:
        """Return what the encoder takes in, (B, T, H), for an embedding, (B, T, E)."""
        project = self.parameters.embeddings_project
        return embedded if project is None else linear(embedded, project.weight, project.bias)

    @np.errstate(all="ignore")
    def all_steps(self, inputs: ModelInputs, rng: np.random.Generator | None = None) -> BertSteps:
        """Return every intermediate of a run on checked inputs, as `steps` does."""
        with self.in_memory(inputs, every=True, weights=True):
            found = dict(self._blocks(inputs, rng))
            layers = tuple(steps for steps in found.values() if isinstance(steps, LayerSteps))
            last = layers[-1].output.output
            encoded = EncoderSteps(
                relative_attention_bias=found.get(_BIAS), layer=layers, output=last
            )
            return BertSteps(
                embeddings=found["embeddings"],
                embeddings_project=found.get(_PROJECTED),
                encoder=encoded,
                pooler=self.pool(last),
            )

    def blame(self, inputs: ModelInputs) -> None:
        """Raise CheckpointError if it is a weight's fault that a result is not finite."""
        for _ in self._blocks(inputs, None):
            pass

    def _blocks(
        self, inputs: ModelInputs, rng: np.random.Generator | None
    ) -> Iterator[tuple[str, Any]]:
        """Yield the name and the steps of the embedding and of each layer, as they are computed.

        What stands between them in some models, the projected embedding and what is added to all
        scores, is yielded as it is. One block's steps are in memory at a time if who takes them
        drops them. A weight that makes a block's output infinite is named before the block is
        yielded.
        """
        parameters = self.encoder_parameters()
        embedded: EmbeddingsSteps = self.embeddings.all_steps(inputs, rng=rng)
        hidden = self.projected(embedded.output)
        given = embedded.output
        yield "embeddings", embedded
        del embedded
        for name, array, part in (
            (_PROJECTED, hidden, self.parameters.embeddings_project),
            (_BIAS, relative_bias(parameters, hidden), parameters.relative_attention_bias),
        ):
            if part is not None and array is not None:
                self._check(array, name, part, array, given)
                yield name, array
        layers = encoder_layers(parameters, hidden, inputs.mask, config=self.config, rng=rng)
        for number, layer in enumerate(parameters.layer):  # which would keep hold of the steps
            name, steps = f"encoder.layer.{number}", next(layers)
            hidden = steps.output.output
            self._check(hidden, name, layer, steps, given)
            yield name, steps
            del steps

    def _readable(
        self,
        inputs: ModelInputs,
        *,
        every: bool,
        weights: bool,
        rng: np.random.Generator | None = None,
    ) -> States:
        """Run the readable code, and keep what is asked for; padding is computed."""
        states, looked = list[Array](), list[Array]()
        for name, steps in self._blocks(inputs, rng):
            if isinstance(steps, LayerSteps):
                hidden = steps.output.output
                states = [*states, hidden] if every else [hidden]
                if weights:
                    looked.append(steps.attention.self.dropout.output)
            elif name != _BIAS:  # the embedding, and what it is projected to in its place
                states = [steps if name == _PROJECTED else steps.output]
            del steps
        return States(states, looked, finite=True)

    def _stream(
        self, inputs: ModelInputs, rng: np.random.Generator | None
    ) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        """Yield the named steps of all blocks."""
        with self.in_memory(inputs):
            for name, steps in self._blocks(inputs, rng):
                if isinstance(steps, LayerSteps):
                    hidden = steps.output.output
                yield from _named(steps, name)
                del steps
            yield "encoder", hidden
            pooled = self.pool(hidden)
            if pooled is not None:
                yield from named_steps(pooled, "pooler")

    def _check(
        self, result: Array, name: str, parameters: object, steps: object, given: Array
    ) -> None:
        """Blame a weight for a result that is not finite, unless what was given was not either."""
        if not np.isfinite(result).all():
            check_finite(
                (result,),
                {f"{name}.": parameters},
                steps=_named(steps, name),
                source=self._source,
                given=not np.isfinite(given).all(),
            )

    def _kernels(self) -> PackedModel | None:
        """Return the kernels if they can stand in for the readable code."""
        if self._packed is None or not self._packed.fits:
            return None
        self.encoder_parameters()
        return self._packed

    def encoder_parameters(self) -> BertEncoderParameters:
        """Return the encoder's parameters, to be used.

        Raises
        ------
        InputError
            If only a part of the model was loaded.
        CheckpointError
            If a weight is not finite that a result need not show; it is named.
        """
        encoder = self.parameters.encoder
        if encoder is None:
            raise InputError(
                "model: loaded with only='embeddings'; load the whole to run the encoder."
            )
        if "encoder" not in self._sound:
            read = {
                f"encoder.layer.{number}.intermediate.": layer.intermediate
                for number, layer in enumerate(encoder.layer)
            }
            check_weights(read, source=self._source)
            self._sound |= {"encoder"}
        return encoder

    @property
    def _source(self) -> str:
        """The checkpoint's files, for messages."""
        return ", ".join(self.loading_info.files)

    def _prepare(self) -> None:
        parameters = self.parameters
        self.embeddings = BertEmbeddings(parameters.embeddings, self.config, self._source)
        self._packed: PackedModel | None = None
        if parameters.encoder is not None and self.dtype == np.float32:
            self._packed = PackedModel(
                self.embeddings, parameters.encoder, self.config, parameters.embeddings_project
            )


def _named(steps: Any, name: str) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """Yield the arrays of a block's steps by their names; what is one array has the block's."""
    if isinstance(steps, np.ndarray):
        yield name, steps
    else:
        yield from named_steps(steps, name)
